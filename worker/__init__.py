"""The RQ worker that runs DAMO-YOLO on batches of jobs."""
