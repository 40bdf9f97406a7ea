"""One worker process, from start to end."""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import suppress

import cv2
from redis import Redis
from redis.exceptions import RedisError

from pipeline.complaints import complaints
from pipeline.connection import connect
from pipeline.errors import ConfigurationError
from pipeline.liveness import forget
from pipeline.queue import start_failures
from pipeline.settings import Settings
from telemetry import catalogue, gpu, setup
from telemetry.setup import Telemetry
from worker.loop import BatchWorker, log
from worker.model.session import Detector
from worker.switching import first_detector
from worker.watchdog import begin_anew

#: Seconds to tell frontends whether this worker starts, and to ask which model was chosen.
NOTE_S = 2.0


def run(settings: Settings) -> None:
    """Load the model, then work until SIGTERM or SIGINT.

    Raises ConfigurationError, before anything is registered, when model, provider or
    Redis address cannot be used.
    """
    forget(settings.heartbeat_file)
    connection = connect(settings)
    # Decoding shares the cores with inference; OpenCV would otherwise take all of them.
    cv2.setNumThreads(settings.inference_threads)
    cv2.utils.logging.setLogLevel(0)  # damaged images are answered, not logged
    try:
        detector = first_detector(settings, connection, NOTE_S)
    except Exception as error:
        _note(connection, start_failures.reason(error))
        raise
    telemetry = setup.start(catalogue.SERVICE_WORKER)
    stopped = True
    gpu.observe(telemetry.instruments)
    try:
        try:
            worker = _worker(settings, detector, telemetry, connection)
        except ConfigurationError as error:
            _note(connection, start_failures.reason(error))
            raise
        # What is loaded by now stays; it need not be looked through for garbage.
        gc.collect()
        gc.freeze()
        log.info(
            "ready: %s %s on %s, %d thread(s), up to %d image(s) a batch",
            detector.spec.name,
            detector.spec.version,
            detector.provider,
            settings.inference_threads,
            detector.batch_max,
        )
        _note(connection)
        stopped = worker.work()
    finally:
        telemetry.shutdown()
        connection.close()
    if not stopped:
        begin_anew()
    if worker.stalled:  # Python would wait for a thread that may take hours
        os._exit(0)


def _note(connection: Redis, why: str = "") -> None:
    """Tell frontends that this worker does not start, or that it has. Not at any price: Redis may
    be away."""

    def note() -> None:
        with suppress(RedisError):
            start_failures.note(connection, why)

    noting = threading.Thread(target=note, name="note", daemon=True)
    noting.start()
    noting.join(NOTE_S)


def _worker(
    settings: Settings, detector: Detector, telemetry: Telemetry, connection: Redis
) -> BatchWorker:
    """Make the worker as soon as Redis answers: RQ asks it for this host's address. Raises
    ConfigurationError where there are too many models beside the default."""
    while True:
        try:
            worker = BatchWorker(settings, detector, telemetry, connection)
            worker.announce()
            return worker
        except RedisError as error:
            complaints.of_redis(log, error, then="trying until it does")
            time.sleep(1.0)
