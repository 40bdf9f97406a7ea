"""A DAMO-YOLO model: loading and checking it, running it, what comes before and after."""
