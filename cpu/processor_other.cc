#include "cpu/processor.h"

namespace braid::cpu {

const ProcessorFeatures& Processor() {
  static constexpr ProcessorFeatures kNone;
  return kNone;
}

}  // namespace braid::cpu
