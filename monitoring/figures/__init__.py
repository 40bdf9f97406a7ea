"""What the stores hold, as the figures, cards and plots of the Monitor page."""
