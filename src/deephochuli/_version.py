"""The version of this package, for those who must not import its face."""

VERSION = "0.1.0"
