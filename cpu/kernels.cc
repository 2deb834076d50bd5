#include "cpu/kernels.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "cpu/kernel_tables.h"
#include "cpu/processor.h"

namespace braid::cpu {
namespace {

struct Entry {
  Isa isa;
  const char* name;
  const Kernels* kernels;
};

// Slowest first.
constexpr Entry kTables[] = {
    {Isa::kPortable, "portable", &kPortableKernels},
#ifdef BRAID_X86
    {Isa::kAvx2, "avx2", &kAvx2Kernels},
    {Isa::kAvxVnni, "avxvnni", &kAvxVnniKernels},
    {Isa::kAvx512, "avx512", &kAvx512Kernels},
    {Isa::kAvx512Bf16, "avx512bf16", &kAvx512Bf16Kernels},
    {Isa::kAmx, "amx", &kAmxKernels},
#endif
};

bool Supports(Isa isa) {
  const ProcessorFeatures& has = Processor();
  switch (isa) {
    case Isa::kPortable:
      return true;
    case Isa::kAvx2:
      return has.avx2;
    case Isa::kAvxVnni:
      return has.avx2 && has.avx_vnni;
    case Isa::kAvx512:
      return has.avx2 && has.avx512_vnni;
    case Isa::kAvx512Bf16:
      return has.avx2 && has.avx512_vnni && has.avx512_bf16;
    case Isa::kAmx:
      return has.avx2 && has.avx512_vnni && has.avx512_bf16 && has.amx;
  }
  return false;
}

}  // namespace

std::string_view ToString(Isa isa) {
  for (const Entry& table : kTables) {
    if (table.isa == isa) return table.name;
  }
  return "unknown";
}

absl::StatusOr<Isa> ParseIsa(std::string_view name) {
  if (name == "auto") return BestIsa();
  std::string names = "auto";
  for (const Entry& table : kTables) {
    absl::StrAppend(&names, ", ", table.name);
    if (name != table.name) continue;
    if (Supports(table.isa)) return table.isa;
    return absl::FailedPreconditionError(absl::StrCat(
        "this processor or system has no ", table.name,
        "; use auto, which takes ", std::string(ToString(BestIsa()))));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown instruction set '", std::string(name), "'; use ", names));
}

Isa BestIsa() { return SupportedIsas().back(); }

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (const Entry& table : kTables) {
    if (Supports(table.isa)) isas.push_back(table.isa);
  }
  return isas;
}

const Kernels& KernelsFor(Isa isa) {
  BRAID_CHECK(Supports(isa));
  for (const Entry& table : kTables) {
    if (table.isa == isa) return *table.kernels;
  }
  BRAID_CHECK_MSG(false, "unknown Isa");
  return kPortableKernels;
}

}  // namespace braid::cpu
