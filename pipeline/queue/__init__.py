"""The queue between frontend and worker: RQ's keys and formats, in a few round trips.

Jobs are ordinary RQ jobs with the JSON serializer, so that `rq info`, rq-dashboard,
`rq requeue` and a stock `rq worker` see and do the right thing. What differs from
RQ's own enqueueing and working is only the number of round trips: the steps that RQ
takes one command at a time (about forty for a job) are five Lua scripts, each atomic:

    enqueue -> take -> (heartbeat ...) -> finish        recover: what a dead worker held

A job that was taken is leased: the worker extends the lease while it lives, and any
worker puts jobs with an expired lease back in front of their queue. Only the holder of
the lease can finish a job, so the first result stands and every job is answered once.
"""
