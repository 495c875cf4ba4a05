import os
import signal
import subprocess
import sys

from tests.client.desk import Desk, job


def test_ctrl_c_while_waiting_says_how_to_come_back(desk: Desk) -> None:
    desk.say(job(), 202).say(job("running"), Retry_After="30")
    words = [sys.executable, "-m", "penstock", "--url", desk.url, "submit", "echo", "-i", "x=1", "--wait"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    desk.wait_for_requests(2)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "`penstock get job_01J --wait` comes back to it" in told
    assert "Traceback" not in told
