// The compiler of the script language (script.h): recursive descent, straight to byte code.
//   script    = { "fn" name "(" [ name { "," name } ] ")" block }
//   block     = "{" { statement } "}"
//   statement = "while" expression block | "if" expression block [ "else" block ] | "return" expression
//             | name [ "[" expression "]" ] "=" expression | expression
//   expression, by falling precedence: number string name call table "#"x "x[i]" · * / % · + - · .. · == != < <= (one of them)
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "script.h"

static struct script *out;
static const char *at;
static char token[32];
static enum { END, NAME, NUMERAL, TEXT, SIGN } kind;
static char locals[MAX_LOCALS][16];
static int local_count;

static void expression(void);
static void block(void);

static void next(void) {
  while (isspace((unsigned char)*at)) at++;
  const char *start = at;
  kind = END;
  if (!*at) return;
  if (isalpha((unsigned char)*at)) {
    kind = NAME;
    while (isalnum((unsigned char)*at)) at++;
  } else if (isdigit((unsigned char)*at)) {
    kind = NUMERAL;
    while (isdigit((unsigned char)*at)) at++;
  } else if (*at == '\'') {
    kind = TEXT;
    start = ++at;
    while (*at && *at != '\'') at++;
  } else {
    kind = SIGN;
    at += strchr(".=!<", *at) && (at[1] == '=' || at[1] == '.') ? 2 : 1;
  }
  size_t length = (size_t)(at - start);
  if (length >= 16) fail("script: long token", start);
  memcpy(token, start, length);
  token[length] = 0;
  if (kind == TEXT) at++;
}

static int is(const char *sign) { return (kind == SIGN || kind == NAME) && !strcmp(token, sign); }

static int accept(const char *sign) {
  if (!is(sign)) return 0;
  next();
  return 1;
}

static void demand(const char *sign) {
  if (!accept(sign)) fail("script: syntax near", at);
}

static int emit(enum op op, int operand) {
  if (out->code_length == MAX_CODE) fail("script: too long", NULL);
  out->code[out->code_length] = (instruction)op | (instruction)operand << 8;
  return out->code_length++;
}

static void land_here(int jump) { out->code[jump] |= (instruction)out->code_length << 8; }

static void constant(struct value value) {
  if (out->constant_count == MAX_CONSTANTS) fail("script: too many constants", NULL);
  out->constants[out->constant_count] = value;
  emit(OP_CONSTANT, out->constant_count++);
}

static int find_local(const char *name) {
  for (int i = 0; i < local_count; i++)
    if (!strcmp(locals[i], name)) return i;
  return -1;
}

static int make_local(const char *name) {
  int found = find_local(name);
  if (found >= 0) return found;
  if (local_count == MAX_LOCALS) fail("script: too many variables", NULL);
  strcpy(locals[local_count], name);
  return local_count++;
}

/** Functions may be called before they are written. */
static int function_named(const char *name) {
  for (int i = 0; i < out->function_count; i++)
    if (!strcmp(out->functions[i].name, name)) return i;
  if (out->function_count == MAX_FUNCTIONS) fail("script: too many functions", NULL);
  strcpy(out->functions[out->function_count].name, name);
  return out->function_count++;
}

static void call_or_variable(void) {
  char name[16];
  strcpy(name, token);
  next();
  if (!accept("(")) {
    int local = find_local(name);
    if (local < 0) fail("script: no variable", name);
    emit(OP_LOCAL, local);
    return;
  }
  while (!is(")")) {
    expression();
    if (!accept(",")) break;
  }
  demand(")");
  emit(OP_CALL, function_named(name));
}

static void primary(void) {
  if (kind == NUMERAL) {
    constant((struct value){NUMBER, {.number = strtod(token, NULL)}});
    next();
  } else if (kind == TEXT) {
    constant((struct value){STRING, {.string = make_string(token, strlen(token), "", 0)}});
    next();
  } else if (kind == NAME) {
    call_or_variable();
  } else if (accept("#")) {
    primary();
    emit(OP_LENGTH, 0);
    return;
  } else if (accept("{")) {
    demand("}");
    emit(OP_NEW_TABLE, 0);
  } else {
    demand("(");
    expression();
    demand(")");
  }
  while (accept("[")) {
    expression();
    demand("]");
    emit(OP_INDEX, 0);
  }
}

struct operator {
  const char *sign;
  enum op op;
  int level;
};

static const struct operator operators[] = {
    {"*", OP_MULTIPLY, 3}, {"/", OP_DIVIDE, 3}, {"%", OP_MODULO, 3}, {"+", OP_ADD, 2}, {"-", OP_SUBTRACT, 2}, {"..", OP_JOIN, 1},
    {"==", OP_EQUAL, 0}, {"!=", OP_UNEQUAL, 0}, {"<", OP_LESS, 0}, {"<=", OP_AT_MOST, 0},
};

static const struct operator *operator_of(int level) {
  for (unsigned i = 0; i < sizeof operators / sizeof operators[0]; i++)
    if (operators[i].level == level && is(operators[i].sign)) return &operators[i];
  return NULL;
}

static void binary(int level) {
  if (level > 3) {
    primary();
    return;
  }
  binary(level + 1);
  for (const struct operator *o; (o = operator_of(level));) {
    next();
    binary(level + 1);
    emit(o->op, 0);
  }
}

static void expression(void) { binary(0); }

static void while_statement(void) {
  int top = out->code_length;
  expression();
  int leave = emit(OP_JUMP_UNLESS, 0);
  block();
  emit(OP_JUMP, top);
  land_here(leave);
}

static void if_statement(void) {
  expression();
  int otherwise = emit(OP_JUMP_UNLESS, 0);
  block();
  if (!is("else")) {
    land_here(otherwise);
    return;
  }
  next();
  int done = emit(OP_JUMP, 0);
  land_here(otherwise);
  block();
  land_here(done);
}

/** What was read as an expression turns out to be the target of an assignment. */
static void assign_or_evaluate(void) {
  const char *before = at;
  char name[16];
  strcpy(name, token);
  if (kind == NAME) {
    next();
    if (accept("=")) {
      expression();
      emit(OP_SET_LOCAL, make_local(name));
      return;
    }
    at = before;
    strcpy(token, name);
    kind = NAME;
  }
  expression();
  if (!accept("=")) {
    emit(OP_POP, 0);
    return;
  }
  if ((out->code[out->code_length - 1] & 0xff) != OP_INDEX) fail("script: cannot assign to it, near", at);
  out->code_length--;
  expression();
  emit(OP_SET_INDEX, 0);
}

static void block(void) {
  demand("{");
  while (!accept("}")) {
    if (accept("while")) while_statement();
    else if (accept("if")) if_statement();
    else if (accept("return")) {
      expression();
      emit(OP_RETURN, 0);
    } else assign_or_evaluate();
  }
}

static void function(void) {
  struct function *f = &out->functions[function_named(token)];
  next();
  demand("(");
  local_count = 0;
  while (!is(")")) {
    make_local(token);
    next();
    if (!accept(",")) break;
  }
  demand(")");
  f->parameters = local_count;
  f->start = out->code_length;
  block();
  constant((struct value){NIL, {0}});
  emit(OP_RETURN, 0);
  f->locals = local_count;
}

void compile_script(struct script *script, const char *text) {
  memset(script, 0, sizeof *script);
  out = script;
  at = text;
  next();
  while (kind != END) {
    demand("fn");
    function();
  }
}
