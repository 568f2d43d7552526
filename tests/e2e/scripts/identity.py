"""What a script can see of how it was started."""

import atexit
import dataclasses
import inspect
import multiprocessing
import pickle
import sys


@dataclasses.dataclass
class Point:
    """Lives in __main__, and has to be found there."""

    x: int


def double(point):
    return Point(2 * point.x)


if __name__ == "__main__":
    import __main__

    names = ("__name__", "__doc__", "__package__", "__file__", "__cached__")
    print({name: str(globals()[name]) for name in names})
    print(__spec__ and (__spec__.name, __spec__.origin, __spec__.loader is __loader__))
    print(sorted(globals()), type(__loader__).__name__, __builtins__)
    print(sys.argv, sys.path[0], sys.exc_info(), sys.excepthook is sys.__excepthook__)
    print(__main__.Point is Point, pickle.loads(pickle.dumps(Point(3))), inspect.getsource(double))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [Point(4)]))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(double, [Point(5)]))
    print(sorted(name for name in ("torch", "numpy", "numba") if name in sys.modules))
    atexit.register(lambda: print("at the end", pickle.loads(pickle.dumps(Point(6)))))
