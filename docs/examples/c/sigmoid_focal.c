/* Sigmoid focal loss, gamma = 2 and alpha = 0.25, computed from frozen vectors and written for the judge.

   reflosses vectors export --loss "sigmoid_focal(gamma=2, alpha=0.25)" --out vectors
   cc -O2 -o sigmoid_focal docs/examples/c/sigmoid_focal.c -lm
   ./sigmoid_focal < vectors/vectors.txt > results.txt
   reflosses vectors check vectors results.txt

   Compiled with -DFAULT, alpha weights the wrong class. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double GAMMA = 2.0, ALPHA = 0.25;

/* The loss of a logit z with the label y, and its slope in z. */
static void focal(double z, double y, double *value, double *slope)
{
    double t = y == 1.0 ? z : -z;
#ifdef FAULT
    double a = y == 1.0 ? 1.0 - ALPHA : ALPHA;
#else
    double a = y == 1.0 ? ALPHA : 1.0 - ALPHA;
#endif
    double e = exp(-fabs(t)), large = 1.0 / (1.0 + e), small = e / (1.0 + e);
    double q = t >= 0.0 ? large : small; /* the probability of the label, */
    double c = t >= 0.0 ? small : large; /* of the other one, not as 1 - q, */
    double s = fmin(t, 0.0) - log1p(e);  /* and log q */
    double w = a * c * c;

    *value = -w * s;
    *slope = w * (GAMMA * q * s - c) * (y == 1.0 ? 1.0 : -1.0);
}

static void fail(const char *said)
{
    fprintf(stderr, "sigmoid_focal: %s\n", said);
    exit(1);
}

/* The header and the numbers of the next array; 0 at the end of the file. */
static int next_array(char name[256], char dtype[16], size_t *count, double **numbers)
{
    char word[16];
    size_t rank, size, i;

    if (scanf("%15s", word) != 1)
        fail("the file is not whole");
    if (strcmp(word, "end") == 0)
        return 0;
    if (strcmp(word, "array") != 0 || scanf("%255s %15s %zu", name, dtype, &rank) != 3)
        fail("expected an array");
    for (*count = 1; rank > 0; rank--) {
        if (scanf("%zu", &size) != 1)
            fail("expected a size");
        *count *= size;
    }
    *numbers = malloc(*count * sizeof **numbers);
    if (*count > 0 && *numbers == NULL)
        fail("there is not enough memory");
    for (i = 0; i < *count; i++)
        if (scanf("%lf", &(*numbers)[i]) != 1) /* hexadecimal, inf and nan too */
            fail("expected a number");
    return 1;
}

static void print_array(const char *block, const char *verb, const char *dtype, const double *numbers, size_t count)
{
    int single = strcmp(dtype, "float32") == 0;
    size_t i;

    printf("array %s/%s %s 1 %zu\n", block, verb, dtype, count);
    for (i = 0; i < count; i++)
        printf("%a\n", single ? (double)(float)numbers[i] : numbers[i]);
}

int main(void)
{
    char name[256], dtype[16];
    double *z = NULL, *y = NULL, *numbers;
    size_t count, i, written = 0;

    if (scanf("reflosses vectors 1") != 0)
        fail("this is no file of vectors");
    while (next_array(name, dtype, &count, &numbers)) {
        char *key = strchr(name, '/');

        if (key == NULL)
            fail("expected BLOCK/NAME");
        *key++ = '\0';
        if (strcmp(key, "logits") == 0) {
            free(z);
            z = numbers;
        } else if (strcmp(key, "labels") == 0) {
            free(y);
            y = numbers;
        } else if (strcmp(key, "upstream") == 0) { /* the last of a block's inputs */
            double *value = malloc(count * sizeof *value), *gradient = malloc(count * sizeof *gradient);

            if (z == NULL || y == NULL || value == NULL || gradient == NULL)
                fail("logits and labels must come before the upstream gradient");
            for (i = 0; i < count; i++) {
                focal(z[i], y[i], &value[i], &gradient[i]);
                gradient[i] *= numbers[i];
            }
            if (written == 0)
                puts("reflosses vectors 1");
            print_array(name, "value", dtype, value, count);
            print_array(name, "gradient", dtype, gradient, count);
            written += 2;
            free(value);
            free(gradient);
            free(numbers);
        } else {
            free(numbers); /* the certified results, which are not for us */
        }
    }
    printf("end %zu\n", written);
    free(z);
    free(y);
    return 0;
}
