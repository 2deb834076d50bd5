// `braid simulate` alone: what the planted bugs are built into, without
// kernels, sockets and RPC.
#include <string>
#include <vector>

#include "server/simulate_command.h"

int main(int argc, char** argv) {
  return braid::server::RunSimulate(
      std::vector<std::string>(argv + 1, argv + argc));
}
