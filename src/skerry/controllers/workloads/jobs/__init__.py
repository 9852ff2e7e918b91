"""Work that ends: Jobs, CronJobs, and how long a finished Job is kept."""
