"""Why a customer did, or did not, get it: the stored past through the core, and in words."""
