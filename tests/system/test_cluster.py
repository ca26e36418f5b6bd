"""Workers find each other at their addresses, or say in one line why not; then they exchange values."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from system.cluster import Cluster, WorkerLostError, Workers, connected, find_cluster
from system.errors import EXIT_WORKER_LOST, UserError
from tests.helpers.processes import free_addresses

THREE = "a:1,b:2,c:3"


def run_workers(names: tuple[str, ...], work: Callable[[Workers], object]) -> list:
    """Returns what a function returns for each worker, each in a thread of its own; or the exceptions that end them."""

    def run(index: int) -> object:
        try:
            with connected(Cluster(names, index), seconds=10) as workers:
                return work(workers)
        except UserError as error:
            return error

    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(run, range(len(names))))


# ---- which workers there are ----


def test_find_cluster_is_empty_by_default(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert find_cluster("", 0) == Cluster()


def test_find_cluster_takes_the_settings_before_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{")
    assert find_cluster(THREE, 1) == find_cluster("a:1, b:2, c:3", 1) == Cluster(["a:1", "b:2", "c:3"], 1)


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        ({"worker": ["a:1", "b:2"]}, {"type": "worker", "index": 1}, Cluster(["a:1", "b:2"], 1)),
        ({"worker": ["a:1", "b:2"]}, {"type": "worker", "index": "1"}, Cluster(["a:1", "b:2"], 1)),
        ({"worker": ["b:2"], "chief": ["a:1"]}, {"type": "worker", "index": 0}, Cluster(["a:1", "b:2"], 1)),
        ({"worker": ["b:2"], "chief": ["a:1"]}, {"type": "chief", "index": 0}, Cluster(["a:1", "b:2"], 0)),
        ({"worker": ["[::1]:1", "b:2"]}, {"type": "worker", "index": 0}, Cluster(["[::1]:1", "b:2"], 0)),
        ({"worker": ["a:1"]}, {"type": "worker", "index": 0}, Cluster()),  # it is alone
        ({}, {}, Cluster()),
    ],
)
def test_find_cluster_reads_tf_config(cluster, task, expected, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert find_cluster("", 0) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "^TF_CONFIG: is not valid .*; unset it, or name the workers with --workers$"),
        ("[]", "^TF_CONFIG: is not valid"),
        ('{"cluster": 3}', "^TF_CONFIG: is not valid"),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "evaluator", "index": 0}}',
            "^TF_CONFIG: has a job 'evaluator'; only chief and worker can be used$",
        ),
        (
            '{"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}',
            "^TF_CONFIG: 1 is not host:port",
        ),
        (
            '{"cluster": {"chief": ["a:1"], "worker": ["b:2"]}, "task": {"type": "chief", "index": 1}}',
            "^TF_CONFIG: has no address for chief 1$",
        ),
        (
            '{"cluster": {"chief": ["a:1"], "worker": ["b:2"]}, "task": {"type": "worker", "index": -1}}',
            "^TF_CONFIG: has no address for worker -1$",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": 0}}',
            "^TF_CONFIG: has a job 'ps'; only chief and worker can be used$",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
            "^TF_CONFIG: has no address for worker 2$",
        ),
    ],
)
def test_find_cluster_refuses_a_wrong_tf_config_in_one_line(text, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=message):
        find_cluster("", 0)


@pytest.mark.parametrize(
    ("workers", "worker", "message"),
    [
        (THREE, 3, "^--worker 3: --workers a:1,b:2,c:3 has workers 0 to 2$"),
        ("", 1, "^--worker 1: there are no others; name the addresses of all: --workers host1:2222,host2:2222$"),
        ("a,b:2", 0, "^--workers a,b:2: a is not host:port; write, for example, --workers host1:2222,host2:2222$"),
        ("a:0,b:2", 0, "a:0 is not host:port"),
        ("a:65536,b:2", 0, "a:65536 is not host:port"),
        (":1,b:2", 0, ":1 is not host:port"),
        ("a:1,", 0, " is not host:port"),
        ("a:1,a:1", 0, "the same address appears twice; give each worker its own$"),
    ],
)
def test_find_cluster_refuses_wrong_settings_in_one_line(workers, worker, message):
    with pytest.raises(UserError, match=message):
        find_cluster(workers, worker)


def test_find_cluster_takes_ports_from_1_to_65535():
    assert find_cluster("a:1,b:65535", 0).addresses == ["a:1", "b:65535"]


# ---- exchanging values ----


def test_a_worker_alone_exchanges_values_with_itself():
    workers = Workers()
    assert (workers.count, workers.index, workers.is_chief) == (1, 0, True)
    assert workers.all_gather(b"x") == [b"x"]
    assert workers.broadcast(b"x") == b"x"
    workers.require_equal({"a": 1})


def test_all_gather_gives_all_values_to_all_workers_in_their_order():
    def work(workers: Workers) -> list:
        large = bytes([workers.index]) * 3_000_000  # more than a connection takes at once
        return [workers.all_gather(f"{workers.index}".encode()), workers.all_gather(b""), workers.all_gather(large)]

    expected = [[b"0", b"1", b"2"], [b"", b"", b""], [bytes([index]) * 3_000_000 for index in range(3)]]
    assert run_workers(free_addresses(3), work) == [expected] * 3


def test_broadcast_is_the_value_of_the_chief():
    found = run_workers(free_addresses(3), lambda workers: workers.broadcast(f"{workers.index}".encode()))
    assert found == [b"0"] * 3


def test_require_equal_names_both_values():
    def work(workers: Workers) -> None:
        workers.require_equal({"--seed": 1, "--epochs": 5})
        workers.require_equal({"--seed": 1, "--epochs": 5 + (workers.index == 2)})

    names = free_addresses(3)
    message = f"--epochs: worker 2 ({names[2]}) has 6, the chief has 5; give all workers the same and start them again"
    assert [str(error) for error in run_workers(names, work)] == [message] * 3


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_all_gather_names_a_worker_that_has_ended(lost):
    def work(workers: Workers) -> object:
        workers.all_gather(b"all are there")
        return None if workers.index == lost else workers.all_gather(b"x")

    names = free_addresses(3)
    errors = run_workers(names, work)
    assert errors.pop(lost) is None
    for error in errors:
        assert isinstance(error, WorkerLostError)
        assert error.exit_code == EXIT_WORKER_LOST
    first = "the chief" if lost == 0 else f"worker {lost}"
    assert str(errors[0]) == (
        f"{first} ({names[lost]}) has ended or cannot be reached; its own output says why; "
        "run the same commands again to continue"
    )


# ---- finding each other ----


def test_connected_waits_for_workers_that_come_late():
    names = free_addresses(2)

    def run(index: int) -> list[bytes]:
        time.sleep(0.3 * (1 - index))  # the chief is late
        with connected(Cluster(names, index), seconds=10) as workers:
            return workers.all_gather(b"x")

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, range(2))) == [[b"x", b"x"]] * 2


def test_connected_says_which_worker_did_not_come():
    names = free_addresses(3)
    with pytest.raises(UserError) as error, connected(Cluster(names, 0), seconds=0.2):
        pass
    assert str(error.value) == (
        f"worker 1 ({names[1]}) did not connect within 0.2 seconds; start the same command there, with --worker 1 "
        "or its own TF_CONFIG"
    )


def test_connected_says_that_the_chief_cannot_be_reached():
    names = free_addresses(2)
    with pytest.raises(UserError) as error, connected(Cluster(names, 1), seconds=0.2):
        pass
    assert re.fullmatch(
        rf"the chief \({names[0]}\) cannot be reached within 0\.2 seconds \(.+\); check its address and its "
        "firewall, and start the same command there",
        str(error.value),
    )


def test_connected_says_that_a_name_cannot_be_resolved():
    names = ("no-such-host.invalid:1234", *free_addresses(1))
    expected = r"^the chief \(no-such-host\.invalid:1234\) cannot be reached within 0\.2 seconds \(.*(name|Name)"
    with pytest.raises(UserError, match=expected), connected(Cluster(names, 1), seconds=0.2):
        pass


@pytest.mark.parametrize("index", [0, 1])
def test_connected_says_that_the_port_of_this_worker_is_in_use(index):
    names = free_addresses(2)
    port = int(names[index].rpartition(":")[2])
    with socket.create_server(("", port)), pytest.raises(UserError) as error, connected(Cluster(names, index)):
        pass
    assert re.fullmatch(
        rf"{names[index]}: cannot use port {port} \(.+\); end the program that uses it, or choose another port in the "
        "addresses of the workers",
        str(error.value),
    )


@contextlib.contextmanager
def waiting_chief(names: tuple[str, ...]) -> Iterator[None]:
    """Lets the chief wait meanwhile, until the block ends."""

    def wait() -> None:
        with contextlib.suppress(UserError), connected(Cluster(names, 0), seconds=1.5):
            pass

    chief = threading.Thread(target=wait)
    chief.start()
    yield
    chief.join()


def test_connected_refuses_a_second_worker_with_the_same_number():
    names = free_addresses(3)
    with waiting_chief(names), ThreadPoolExecutor(2) as threads:
        first = threads.submit(greet, names)
        time.sleep(0.3)
        second = threads.submit(greet, names)
        refusals = [first.result(), second.result()]
    assert refusals == ["", "--worker 1: is already connected; give each worker its own number"]


def greet(names: tuple[str, ...]) -> str:
    """Returns why worker 1 of these addresses was refused, or ""; otherwise it stays for a moment."""
    try:
        with connected(Cluster(names, 1), seconds=1.5):
            time.sleep(1)
    except UserError as error:
        return str(error)
    return ""


def test_connected_refuses_a_worker_with_other_addresses():
    names, (other,) = free_addresses(3), free_addresses(1)
    for others in (names[:2], (names[0], names[1], other)):
        with waiting_chief(names):
            refusal = greet(others)
        assert refusal == (
            f"the chief ({names[0]}) has another list of workers than {','.join(others)}; give all of them the same"
        )


def test_a_worker_that_ended_while_others_are_awaited_may_come_back():
    names, has_ended = free_addresses(3), threading.Event()

    def run(index: int) -> list[bytes]:
        if index == 1:
            with connected(Cluster(names, 1), seconds=10):
                pass  # it ends at once, and is started again
            has_ended.set()
        if index == 2:
            has_ended.wait()
        with connected(Cluster(names, index), seconds=10) as workers:
            return workers.all_gather(b"x")

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(run, range(3))) == [[b"x"] * 3] * 3


def test_connected_says_that_a_name_is_impossible():
    names = ("host1..local:1234", *free_addresses(1))
    expected = r"cannot be reached within 0\.1 seconds \(this cannot be the name of a machine\)"
    with pytest.raises(UserError, match=expected), connected(Cluster(names, 1), seconds=0.1):
        pass


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has all of these limits")
def test_a_machine_that_disappears_is_noticed_within_half_a_minute():
    def limits(workers: Workers) -> list[int]:
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        (connection,) = workers._connections
        found = [connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
        workers.all_gather(b"")  # else one could end before the other notices that it has come
        return [connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *found]

    assert run_workers(free_addresses(2), limits) == [[1, 10, 5, 4, 30_000]] * 2


def test_chief_ignores_what_is_no_worker():
    names = free_addresses(2)
    port = int(names[0].rpartition(":")[2])

    def disturb() -> None:
        for content in (b"", b"GET / HTTP/1.1\r\n\r\n".ljust(64)):
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=2) as connection:
                connection.sendall(content)

    def run(index: int) -> list[bytes]:
        if index:
            time.sleep(0.2)
            disturb()
        with connected(Cluster(names, index), seconds=10) as workers:
            return workers.all_gather(b"x")

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, range(2))) == [[b"x", b"x"]] * 2
