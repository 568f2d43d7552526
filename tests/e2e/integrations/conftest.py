"""These files load trainers and trackers, which takes seconds, also where none of it is run."""


def pytest_ignore_collect(collection_path, config):
    """Leave the files alone when their tests are deselected, as in the fast loop."""
    is_left_out = "not integration" in (config.option.markexpr or "")
    return True if is_left_out and collection_path.name.startswith("test_") else None
