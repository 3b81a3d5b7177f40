/* R's way to the functions of libebbtide.so, which are in the process when `ebb run` started it. */
#define R_NO_REMAP
#include "ebb.h"

#include <R_ext/Rdynload.h>
#include <Rinternals.h>

static SEXP available(void) { return Rf_ScalarLogical(ebb_available()); }

/* "running", "restored", or why there is no snapshot. */
static SEXP snapshot(SEXP tag, SEXP replace, SEXP persisted) {
  const unsigned flags =
      (Rf_asLogical(replace) == 1 ? EBB_REPLACE : 0) | (Rf_asLogical(persisted) == 1 ? EBB_PERSISTED : 0);
  switch (ebb_snapshot(Rf_translateChar(STRING_ELT(tag, 0)), flags)) {
    case EBB_RUNNING:
      return Rf_mkString("running");
    case EBB_RESTORED:
      return Rf_mkString("restored");
    default:
      return Rf_mkString(ebb_last_error());
  }
}

static SEXP arguments(void) {
  unsigned count = 0;
  while (ebb_argument_name(count)) ++count;
  SEXP values = PROTECT(Rf_allocVector(VECSXP, count)), names = PROTECT(Rf_allocVector(STRSXP, count));
  for (unsigned i = 0; i < count; ++i) {
    const char* name = ebb_argument_name(i);
    const char* value = ebb_argument(name);
    SET_STRING_ELT(names, i, Rf_mkChar(name));
    SET_VECTOR_ELT(values, i, Rf_mkString(value));
  }
  Rf_setAttrib(values, R_NamesSymbol, names);
  UNPROTECT(2);
  return values;
}

static const R_CallMethodDef kCalls[] = {{"C_available", (DL_FUNC)available, 0},
                                         {"C_snapshot", (DL_FUNC)snapshot, 3},
                                         {"C_arguments", (DL_FUNC)arguments, 0},
                                         {NULL, NULL, 0}};

void R_init_ebb(DllInfo* library) {
  R_registerRoutines(library, NULL, kCalls, NULL, NULL);
  R_useDynamicSymbols(library, FALSE);
}
