"""Tests of the whole service on one machine; a package, so that what they share ends with it."""
