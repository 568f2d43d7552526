"""A package, since others install one of this name, which would hide a folder without this file."""
