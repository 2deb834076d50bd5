#include "scheduler/service_class.h"

namespace braid {

std::vector<ServiceClass> DefaultServiceClasses() {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  return {{.name = "interactive",
           .ttft = seconds(2),
           .tpot = milliseconds(100),
           .max_queued = 256},
          {.name = "batch",
           .ttft = seconds(60),
           .tpot = milliseconds(500),
           .max_queued = 1024}};
}

}  // namespace braid
