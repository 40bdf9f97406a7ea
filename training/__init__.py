"""How the bundled model was made. Nothing else in the project imports this package."""
