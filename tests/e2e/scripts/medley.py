"""Several trainings in one process, the last of which fails: one import of torch for all."""

import sys

import crash
import gan
import workers

if __name__ == "__main__":
    gan.main(sys.argv[1])
    workers.main(sys.argv[1], "fork")
    crash.main(sys.argv[1])
