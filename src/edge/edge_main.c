#include "edge/cli/cli.h"
#include "edge/edge.h"

int main(int argc, char **argv)
{
	return edge_cli_main(argc, argv, edge_run);
}
