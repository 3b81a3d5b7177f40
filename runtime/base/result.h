// Result<T>: a value or an errno. The only error channel of the runtime: no exceptions, no global state.
#pragma once

namespace ebb {

// A positive errno value; 0 means no error.
struct Errno {
  int value = 0;
  explicit constexpr operator bool() const { return value != 0; }
  constexpr bool operator==(const Errno&) const = default;
};

template <class T>
class [[nodiscard]] Result {
 public:
  constexpr Result(T value) : value_(value) {}
  constexpr Result(Errno error) : error_(error) {}
  constexpr bool ok() const { return error_.value == 0; }
  constexpr T value() const { return value_; }
  constexpr T value_or(T other) const { return ok() ? value_ : other; }
  constexpr Errno error() const { return error_; }

 private:
  T value_{};
  Errno error_{};
};

template <>
class [[nodiscard]] Result<void> {
 public:
  constexpr Result() = default;
  constexpr Result(Errno error) : error_(error) {}
  constexpr bool ok() const { return error_.value == 0; }
  constexpr Errno error() const { return error_; }

 private:
  Errno error_{};
};

}  // namespace ebb
