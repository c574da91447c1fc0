"""Take-over of a cluster that another installer connected to CAST AI."""
