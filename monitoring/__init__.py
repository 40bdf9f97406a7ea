"""Reading metrics and traces, and what is made of them."""
