"""One watched call: its arguments, its steps, its result, and the runs that are made of them."""
