"""Starts the ranks of one machine and answers with one exit status, which torchrun does not do: 75 stays 75."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

from .failures import EXIT_PREEMPTED

_POLL_SECONDS = 0.05


def launch(ranks: int, argv: list[str], module: str = "dream_trainer") -> int:
    """Runs `python -m dream_trainer *argv` `ranks` times. SIGTERM goes to all; the first failure ends the others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children: list[subprocess.Popen[bytes]] = []
    terminated = False

    def forward(_signal: int, _frame: object) -> None:
        nonlocal terminated
        terminated = True
        for child in children:
            child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, forward)
    for rank in range(ranks):
        environment = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        children.append(subprocess.Popen([sys.executable, "-m", module, *argv], env=environment))
        if terminated:  # The signal came while this child was not yet in the list.
            children[-1].send_signal(signal.SIGTERM)
    while True:
        statuses = [child.poll() for child in children]
        failed = next((status for status in statuses if status not in (None, 0, EXIT_PREEMPTED)), None)
        if failed is not None:
            for child in children:
                child.kill()
                child.wait()
            # A rank that SIGTERM met before its first step ends by it, and none has taken a step without the others.
            if terminated and (failed == -signal.SIGTERM or EXIT_PREEMPTED in statuses):
                return EXIT_PREEMPTED
            return failed if failed > 0 else 128 - failed
        if None not in statuses:
            return EXIT_PREEMPTED if EXIT_PREEMPTED in statuses else 0
        time.sleep(_POLL_SECONDS)
