"""How fast things are on this machine. Every number is printed with the machine it is from."""
