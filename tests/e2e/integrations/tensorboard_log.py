"""What TensorBoard's own reader finds in a log."""


def read(folder):
    """All that a log holds."""
    from tensorboard.backend.event_processing import event_accumulator

    everything = dict.fromkeys(("scalars", "histograms", "tensors"), 0)
    found = event_accumulator.EventAccumulator(str(folder), size_guidance=everything)
    found.Reload()
    return found


def texts(log, tag):
    return [
        (event.step, event.tensor_proto.string_val[0].decode())
        for event in log.Tensors(f"{tag}/text_summary")
    ]
