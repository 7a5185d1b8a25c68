"""Running a plan: the scheduler, the work queue, and worker processes that train, evaluate and measure."""
