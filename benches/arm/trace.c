// A QEMU plugin that records what a program executes between its marks, for arm_model.py.
//
// Blocks are listed with the words of their instructions when QEMU translates them, and named when they run:
//     B number words...     T number     M mark_name     N instructions
// It records from a function whose name begins with "mark_" to the function mark_end; N, at the end, is the number of
// instructions of the whole program.
//
// The part of the plugin interface that is used is declared here, since Debian 12 has QEMU 7.2 without its header.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;
typedef void (*on_translation)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned, void *);
typedef void (*at_exit)(qemu_plugin_id_t, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_translation);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_execution, int flags, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, at_exit, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);

// The interface version of QEMU 7.2; later versions may require a higher number.
__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static FILE *out;
static int recording;
static unsigned long blocks, total;

struct block {
    unsigned long number, instructions;
};

static void mark(unsigned cpu, void *name) {
    (void)cpu;
    recording = strcmp(name, "mark_end") != 0;
    fprintf(out, "M %s\n", (char *)name);
}

static void run(unsigned cpu, void *data) {
    (void)cpu;
    const struct block *block = data;
    total += block->instructions;
    if (recording) fprintf(out, "T %lu\n", block->number);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    const char *symbol = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, 0));
    if (symbol && strncmp(symbol, "mark_", 5) == 0) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, mark, 0, (void *)symbol);
        return;
    }
    struct block *block = malloc(sizeof *block); // lives as long as the program
    *block = (struct block){++blocks, qemu_plugin_tb_n_insns(tb)};
    fprintf(out, "B %lu", block->number);
    for (size_t i = 0; i < block->instructions; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), sizeof word);
        fprintf(out, " %08x", word);
    }
    fputc('\n', out);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, run, 0, block);
}

static void finish(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    fprintf(out, "N %lu\n", total);
    fclose(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int count,
                                                               char **arguments) {
    (void)info;
    if (count != 1 || strncmp(arguments[0], "out=", 4) != 0) return -1;
    out = fopen(arguments[0] + 4, "w");
    if (!out) return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
