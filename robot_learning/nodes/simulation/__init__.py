"""What the node `sim_robot` is made of: the simulated robot, its topics, when each is due, wall pacing and rendering."""
