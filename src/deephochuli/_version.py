"""The version of this package, for those who must not import its face.

In a working tree, the one that it is to become; a build from a tag puts the tag's here.
"""

VERSION = "0.1.0"
