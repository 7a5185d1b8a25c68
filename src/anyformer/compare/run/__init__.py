"""How it is run: the scheduler, the work queue, and the worker processes that train, evaluate and measure."""
