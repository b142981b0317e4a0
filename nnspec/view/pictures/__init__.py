"""Pictures of training and of loss landscapes, drawn with matplotlib."""
