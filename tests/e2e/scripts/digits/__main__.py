"""Train through a relative import."""

import sys

from . import __doc__ as about
from .training import train

if __name__ == "__main__":
    print(about, __package__, sys.argv[1:])
    train(int(sys.argv[1]))
