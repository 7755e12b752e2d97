"""The images, the compose files and the monitoring of docker/."""
