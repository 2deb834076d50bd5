#include "simulator/gpu/csv_table.h"

#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>

#include <zlib.h>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace braid::gpu {
namespace {

// Far above any table of ours; a bound on what a wrong file can make us hold.
constexpr size_t kMaxBytes = size_t{512} << 20;

struct CloseGz {
  void operator()(gzFile file) const { gzclose(file); }
};

}  // namespace

int CsvTable::Column(absl::string_view name) const {
  for (size_t i = 0; i < header.size(); ++i) {
    if (header[i] == name) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<CsvTable> ParseCsv(absl::string_view text) {
  CsvTable table;
  size_t line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    absl::ConsumeSuffix(&line, "\r");
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> fields = absl::StrSplit(line, ',');
    if (table.header.empty()) {
      table.header = std::move(fields);
      continue;
    }
    if (fields.size() != table.header.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", line_number, " has ", fields.size(),
                       " fields, the header ", table.header.size()));
    }
    table.rows.push_back(std::move(fields));
  }
  if (table.header.empty()) return absl::InvalidArgumentError("no header line");
  return table;
}

absl::StatusOr<CsvTable> ReadCsv(const std::string& path) {
  // zlib reads a file that is not compressed as it is.
  std::unique_ptr<gzFile_s, CloseGz> file(gzopen(path.c_str(), "rb"));
  if (file == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const int got = gzread(file.get(), buffer, sizeof buffer);
    if (got < 0) {
      return absl::DataLossError(
          absl::StrCat("cannot read ", path, ": it is damaged"));
    }
    if (got == 0) {
      int error = Z_OK;
      gzerror(file.get(), &error);
      if (error == Z_OK || error == Z_STREAM_END) break;
      return absl::DataLossError(absl::StrCat(path, " ends too early"));
    }
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMaxBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is larger than 512 MiB"));
    }
  }
  absl::StatusOr<CsvTable> table = ParseCsv(text);
  if (!table.ok()) {
    return absl::Status(table.status().code(),
                        absl::StrCat(path, ": ", table.status().message()));
  }
  return table;
}

double CsvNumber(absl::string_view field) {
  double value = 0;
  if (!absl::SimpleAtod(field, &value)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return value;
}

}  // namespace braid::gpu
