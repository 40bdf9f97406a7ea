"""What the figures in docs are measured with; each module is one command."""
