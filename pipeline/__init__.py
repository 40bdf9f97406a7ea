"""What the frontend and the worker agree on: settings, the job, the queue, errors."""
