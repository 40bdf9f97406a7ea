"""The report that is sent by schedule: RQ's cron, with JSON jobs and one report for each date."""

from __future__ import annotations

from redis import Redis
from rq.cron import CronJob, CronScheduler
from rq.exceptions import DuplicateJobError
from rq.job import Job, Retry
from rq.serializers import JSONSerializer

from monitoring.notify.queue import FAILED_S, QUEUE, REPORT, REPORT_S, NoticeJob, notices
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

#: Seconds for which a sent report's job is kept, so that no second watcher sends it again.
KEPT_S = 3600


class ReportJob(CronJob):
    """RQ would enqueue a pickle, and with two watchers two of them."""

    def enqueue(self, connection: Redis) -> Job:
        """Enqueue the report that is due, once however many watchers do so."""
        job_id = f"damoscope-report-{self.next_enqueue_time:%Y%m%dT%H%M}"
        try:
            return notices(connection).enqueue(
                self.func_name, args=self.args, job_id=job_id, unique=True,
                description="scheduled report", retry=Retry(max=3, interval=[60, 300, 900]),
                **self.job_options,
            )  # fmt: skip
        except DuplicateJobError:
            return NoticeJob.fetch(job_id, connection=connection, serializer=JSONSerializer)


def report_job(settings: Settings) -> ReportJob:
    """The job that the settings ask for. Raises ConfigurationError for a wrong schedule.

    RQ's cron reads times of day in the process's time zone: it must be UTC.
    """
    schedule = settings.report_schedule
    try:
        if len(schedule.split()) != 5:
            raise ValueError("five fields are needed")
        return ReportJob(
            QUEUE,
            func_name=REPORT,
            args=(settings.report_days, settings.notify_language),
            cron=schedule,
            job_timeout=REPORT_S,
            result_ttl=KEPT_S,
            failure_ttl=FAILED_S,
        )
    except (ValueError, KeyError) as error:
        raise ConfigurationError(
            f"DAMOSCOPE_REPORT_SCHEDULE={schedule}: {error}; write it like `0 8 * * 1`: minute, "
            "hour, day, month, day of the week"
        ) from None


def scheduler(redis: Redis, job: ReportJob) -> CronScheduler:
    """RQ's scheduler with this job alone; `enqueue_jobs` enqueues it when it is due."""
    found = CronScheduler(redis)
    found.get_jobs().append(job)  # `register` would make RQ's own kind of job of it
    return found
