"""What holds for every test."""

import os
import signal

from hypothesis import HealthCheck, settings

# Several processes of tests share the cores. numpy's threads wait for each other by spinning: on a busy machine the
# same product of matrices takes three times the work with two threads as with one. Before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# How long an example takes, and how long it takes to make some, says something of the machine alone.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# A shell starts what runs in the background with Ctrl-C ignored, and all that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
