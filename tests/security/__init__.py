"""Tests as an attacker would have it; a package, so that what they share ends with it."""
