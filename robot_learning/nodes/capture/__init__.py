"""Where the node `camera` gets its pictures and its calibration from. No ROS nodes here."""
