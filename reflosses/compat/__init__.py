"""The published systems, one module each: their names, arguments, defaults, conventions and reductions.

Every function and every loss class is called as the original is, takes whatever ``numpy.asarray``
takes, and returns NumPy.  Its ``gradient``, called with the same arguments, is the derivative of the
reduced value (of the sum of the values, where nothing is reduced) in the predictions.

Examples
--------
>>> from reflosses.compat import torch
>>> torch.cross_entropy([[2.0, 0.0, -1.0]], [0]).round(8)
np.float64(0.16984602)
>>> torch.cross_entropy.gradient([[2.0, 0.0, -1.0]], [0])
array([[-0.15620527,  0.1141952 ,  0.04201007]])
"""
