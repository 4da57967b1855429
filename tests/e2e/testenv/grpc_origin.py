"""A gRPC service, run as a program of its own: python3 grpc_origin.py PORT [KEY CERT]

Messages are plain bytes. What it has seen of cancelled calls it tells to who asks /test.Probe/Cancelled.
"""

import concurrent.futures
import sys
import threading
import time

import grpc

cancelled = {}  # name -> event
lock = threading.Lock()


def watch(context):
    """The event that is set when the call with this x-name has ended before its handler."""
    name = dict(context.invocation_metadata()).get("x-name", "")
    with lock:
        event = cancelled.setdefault(name, threading.Event())
    context.add_callback(event.set)
    return event


def echo(request, context):
    context.set_trailing_metadata((("x-trail", "end"), ("x-trail-bin", b"\0\xff")))
    return request


def meta(request, context):
    """The metadata it was called with, one a line."""
    context.send_initial_metadata((("x-early", "yes"),))
    return "\n".join(sorted(f"{n}={v}" for n, v in context.invocation_metadata())).encode()


def fail(request, context):
    """b"CODE text": with that status, before any message."""
    code, text = request.decode().split(" ", 1)
    context.set_trailing_metadata((("x-why", "asked"),))
    context.abort(next(c for c in grpc.StatusCode if c.name == code), text)


def fail_late(request, context):
    """Two messages, then an error."""
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "late")


def count(request, context):
    for i in range(int(request)):
        yield str(i).encode()


def collect(requests, context):
    messages = 0
    size = 0
    for request in requests:
        messages += 1
        size += len(request)
    return f"{messages} {size}".encode()


def chat(requests, context):
    for request in requests:
        yield b"re: " + request


def early(requests, context):
    """Answers after the first message, whatever still comes."""
    yield next(requests)


def hang(request, context):
    watch(context).wait(60)
    return b"late"


def stream_for_ever(request, context):
    gone = watch(context)
    while not gone.is_set():
        yield b"tick"
        time.sleep(0.01)  # the pace of the messages


def compressed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return request


def was_cancelled(request, context):
    with lock:
        event = cancelled.setdefault(request.decode(), threading.Event())
    return b"yes" if event.wait(20) else b"no"


UNARY, SERVER, CLIENT, BOTH = (
    grpc.unary_unary_rpc_method_handler,
    grpc.unary_stream_rpc_method_handler,
    grpc.stream_unary_rpc_method_handler,
    grpc.stream_stream_rpc_method_handler,
)
METHODS = {
    "Echo": UNARY(echo),
    "Meta": UNARY(meta),
    "Fail": UNARY(fail),
    "FailLate": SERVER(fail_late),
    "Count": SERVER(count),
    "Collect": CLIENT(collect),
    "Chat": BOTH(chat),
    "Early": BOTH(early),
    "Hang": UNARY(hang),
    "Forever": SERVER(stream_for_ever),
    "Compressed": UNARY(compressed),
}
BIG = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


def main(port, key=None, cert=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(150), options=BIG)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("test.Service", METHODS),
            grpc.method_handlers_generic_handler("test.Probe", {"Cancelled": UNARY(was_cancelled)}),
        )
    )
    if key:
        with open(key, "rb") as k, open(cert, "rb") as c:
            credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
        server.add_secure_port(f"127.0.0.1:{port}", credentials)
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
