"""Synthetic scenes with phones and look-alikes, and the boxes of the phones in them."""
