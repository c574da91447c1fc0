"""Rules on the resources of a plan, for programs that compose the components themselves."""
