"""Every way in which a program can end, with or without a training before."""

import atexit
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor


def train(n_steps):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(n_steps):
        loss = model(torch.ones(3, 4)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item().hex(), flush=True)


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def fail():
    raise KeyError("on purpose")


def own_hook(kind, error, trace):
    print("own hook:", kind.__name__, trace.tb_frame.f_code.co_name, file=sys.stderr)


def end(way):  # noqa: C901
    match way:
        case "return":
            atexit.register(print, "goodbye")
        case "exit-3":
            sys.exit(3)
        case "exit-text":
            sys.exit("that was all")
        case "exit-none":
            sys.exit()
        case "raise":
            fail()
        case "chained":
            try:
                fail()
            except KeyError:
                {}["missing"]
        case "group":
            raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])
        case "hook":
            sys.excepthook = own_hook
            fail()
        case "thread-exit":
            in_thread(sys.exit, 5).join()
        case "thread-raise":
            in_thread(fail)
        case "_exit":
            os._exit(7)
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        case "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        case "pool":
            ThreadPoolExecutor(1).submit(print, "in a pool that nobody shuts down").result()
        case "handled":
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(9))
            os.kill(os.getpid(), signal.SIGTERM)
        case "stdin":
            print(sys.stdin.read().upper())
        case "fork":
            child = os.fork()
            if not child:
                sys.exit(4)
            print("child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        train(int(sys.argv[2]))
    end(sys.argv[1])
