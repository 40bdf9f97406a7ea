"""One image that is looked at in tiles: many calls of the model, between which others have their
turn, and after each of which it is asked whether the image is wanted still."""

from __future__ import annotations

import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from pipeline.complaints import complaints
from pipeline.errors import Cancelled, JobExpired
from pipeline.queue.consumer import Consumer
from worker.batch import BatchItem
from worker.stages import Stages

log = logging.getLogger("damoscope.worker")


def run(
    item: BatchItem,
    stages: Stages,
    consumer: Consumer,
    *,
    begins: Callable[[], None],
    ran: Callable[[int], None],
    others: Callable[[], None],
) -> None:
    """All stages of one image, from its file on.

    `begins` is told of each stage and call, `ran` of how many tiles a call was for; `others` runs
    one batch of what has come meanwhile, if there is one.
    """
    begins()
    stages.preprocess([item])
    if item.error is None and not item.tiles:  # it is small enough as it is
        begins()
        stages.infer([item])
        ran(1)
    elif item.error is None:
        begins()
        for tiles in stages.infer_tiles(item):
            ran(tiles)
            _give_up_unwanted(item, consumer)
            if item.error is None:
                others()
            begins()
    if item.error is None:
        stages.nms(item)


def _give_up_unwanted(item: BatchItem, consumer: Consumer) -> None:
    try:
        if item.taken.overdue:
            item.fail(JobExpired("its deadline passed while its tiles were worked on"))
        elif not consumer.look(item.taken):
            item.fail(Cancelled("the image was withdrawn while its tiles were worked on"))
    except RedisError as error:
        complaints.of_redis(log, error, then="tiles are worked on meanwhile")
