"""What the folders and files of models raise."""


class ModelStoreError(ValueError):
    """A model is not installed, its entry is damaged, or a file cannot be had.

    The message is fit for a user's eyes, and says what to do.
    """
