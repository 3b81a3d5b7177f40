// Stands in for the preloaded library: something the loader accepts.
void ebb_cli_stand_in(void);
void ebb_cli_stand_in(void) {}
