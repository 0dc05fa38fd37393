(* Chapter 2, and what everything else uses: Sylvester, the determinant lemma, Woodbury,
   block determinants.

   How to read this file, knowing linear algebra but not Rocq:
   - `Lemma name (variables) : statement.` is a theorem; the comment before it names the
     claims of the ledger that it serves. A `Fact` is a step on the way. What stands
     between `Proof.` and `Qed.` instructs the machine; trust needs no reading of it.
   - `'M[Num]_(m, n)` are the m x n matrices over Num, `'cV_n` columns, `'rV_n` rows;
     `A *m B` is the matrix product, `c *: A` a multiple, `A^T` the transpose,
     `\det A`, `\tr A`, `row_mx`, `col_mx`, `block_mx` are what they seem.
   - `A -> B` is "if A then B": hypotheses come first. `P \in unitmx`: P has an inverse.
   - Num is any commutative ring (with a test for invertibility): the real numbers, but
     also integers mod 12. Nothing here uses an order or a limit. *)
From mathcomp Require Import all_ssreflect all_algebra.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Notation I := (1%:M).     (* the identity, of whatever size fits *)
Notation inv := invmx.    (* the inverse, of a matrix that has one *)

(* The number x' S x, and a 1 x 1 matrix as a number. *)
Definition number (Num : ringType) (A : 'M[Num]_1) : Num := A 0 0.
Definition quad (Num : ringType) d (S : 'M[Num]_d) (x : 'cV[Num]_d) : Num :=
  number (x^T *m S *m x).

Section Determinants.
Variable Num : comUnitRingType.

(* A matrix that multiplies Q to the identity is the inverse of Q. *)
Fact inverse_is_unique d (Q X : 'M[Num]_d) :
  Q *m X = I -> Q \in unitmx /\ inv Q = X.
Proof.
move=> e; have [uQ _] := mulmx1_unit e; split=> //.
by rewrite -[X](mulKmx uQ) e mulmx1.
Qed.

(* T8: Sylvester's identity, for any rectangular A and B. *)
Lemma sylvester m n (A : 'M[Num]_(m, n)) (B : 'M[Num]_(n, m)) :
  \det (I + A *m B) = \det (I + B *m A).
Proof.
(* Two triangular factorisations of one block matrix. *)
pose W := block_mx I (- A) B I.
have lower_upper : W = block_mx I 0 B I *m block_mx I (- A) 0 (I + B *m A).
  rewrite mulmx_block !mul1mx !mulmx0 !mul0mx !mulmx1 !addr0 mulmxN.
  by rewrite [X in _ = block_mx _ _ _ X]addrC -addrA subrr addr0.
have upper_lower : W = block_mx (I + A *m B) (- A) 0 I *m block_mx I 0 B I.
  by rewrite mulmx_block !mul1mx !mulmx0 !mul0mx !mulmx1 !add0r mulNmx addrK.
transitivity (\det W).
  by rewrite upper_lower det_mulmx det_lblock det_ublock !det1 !mulr1.
by rewrite lower_upper det_mulmx det_lblock det_ublock !det1 !mul1r.
Qed.

(* T8: the matrix determinant lemma. *)
Lemma determinant_lemma d k
    (P : 'M[Num]_d) (U : 'M[Num]_(d, k)) (V : 'M[Num]_(k, d)) :
  P \in unitmx ->
  \det (P + U *m V) = \det P * \det (I + V *m inv P *m U).
Proof.
move=> uP; rewrite -mulmxA -sylvester -det_mulmx; congr (\det _).
by rewrite mulmxDr mulmx1 !mulmxA mulmxV // mul1mx.
Qed.

(* T6, T8: Woodbury. The small matrix I + V P^-1 U is all that has to be inverted. *)
Lemma woodbury d k (P : 'M[Num]_d) (U : 'M[Num]_(d, k)) (V : 'M[Num]_(k, d)) :
  P \in unitmx -> I + V *m inv P *m U \in unitmx ->
  inv (P + U *m V)
    = inv P - inv P *m U *m inv (I + V *m inv P *m U) *m V *m inv P.
Proof.
move=> uP uC; set C := inv (I + _).
have small : C + V *m inv P *m U *m C = I by rewrite -{1}[C]mul1mx -mulmxDl mulmxV.
suff /inverse_is_unique[] :
  (P + U *m V) *m (inv P - inv P *m U *m C *m V *m inv P) = I by [].
rewrite mulmxBr !mulmxDl mulmxV // !mulmxA mulmxV // mul1mx.
have -> : U *m C *m V *m inv P + U *m V *m inv P *m U *m C *m V *m inv P
        = U *m (C + V *m inv P *m U *m C) *m V *m inv P.
  by rewrite mulmxDr !mulmxDl !mulmxA.
by rewrite small mulmx1 addrK.
Qed.

(* T8, T28: pushing U through the inverse, (P + U V)^-1 U = P^-1 U (I + V P^-1 U)^-1. *)
Lemma push_through d k (P : 'M[Num]_d) (U : 'M[Num]_(d, k)) (V : 'M[Num]_(k, d)) :
  P \in unitmx -> I + V *m inv P *m U \in unitmx ->
  inv (P + U *m V) *m U = inv P *m U *m inv (I + V *m inv P *m U).
Proof.
move=> uP uC.
have uQ : P + U *m V \in unitmx.
  by rewrite unitmxE determinant_lemma // unitrM -!unitmxE uP.
apply: (canLR (mulKmx uQ)); rewrite mulmxA; apply: (canRL (mulmxK uC)).
by rewrite mulmxDr mulmx1 !mulmxDl !mulmxA mulmxV // mul1mx.
Qed.

(* T8, T34: the determinant of a block matrix is that of a corner times that of its
   Schur complement. *)
Lemma block_determinant m n (A : 'M[Num]_m) (B : 'M[Num]_(m, n))
    (C : 'M[Num]_(n, m)) (D : 'M[Num]_n) :
  D \in unitmx ->
  \det (block_mx A B C D) = \det D * \det (A - B *m inv D *m C).
Proof.
move=> uD.
have -> : block_mx A B C D
    = block_mx I (B *m inv D) 0 I *m block_mx (A - B *m inv D *m C) 0 C D.
  by rewrite mulmx_block !mul1mx !mul0mx !add0r mulmxKV // subrK.
by rewrite det_mulmx det_ublock det_lblock !det1 !mul1r mulrC.
Qed.

(* T8, T34: the same from the other corner. *)
Lemma block_determinant_first m n (A : 'M[Num]_m) (B : 'M[Num]_(m, n))
    (C : 'M[Num]_(n, m)) (D : 'M[Num]_n) :
  A \in unitmx ->
  \det (block_mx A B C D) = \det A * \det (D - C *m inv A *m B).
Proof.
move=> uA.
have -> : block_mx A B C D
    = block_mx A 0 C I *m block_mx I (inv A *m B) 0 (D - C *m inv A *m B).
  rewrite mulmx_block !mulmx1 !mul1mx !mul0mx !addr0 mulKVmx // mulmxA.
  by rewrite addrC subrK.
by rewrite det_mulmx det_lblock det_ublock !det1 mulr1 mul1r.
Qed.

(* A 1 x 1 determinant is the number in it. *)
Fact det_one_by_one (A : 'M[Num]_1) : \det (I + A) = 1 + number A.
Proof. by rewrite det_mx11 mxE mxE eqxx. Qed.

(* 1 x 1 matrices multiply as their numbers do. *)
Fact number_of_product (A B : 'M[Num]_1) : number (A *m B) = number A * number B.
Proof. by rewrite /number mxE big_ord1. Qed.

(* And a difference of multiples is one of numbers. *)
Fact number_of_difference (A B : 'M[Num]_1) (c : Num) :
  number (A - c *: B) = number A - c * number B.
Proof. by rewrite /number !mxE. Qed.

(* T8: one direction u v. The determinant is multiplied by a number. *)
Lemma determinant_rank_one d (P : 'M[Num]_d) (u : 'cV[Num]_d) (v : 'rV[Num]_d) :
  P \in unitmx -> \det (P + u *m v) = \det P * (1 + number (v *m inv P *m u)).
Proof. by move=> uP; rewrite determinant_lemma // det_one_by_one. Qed.

(* A factor c in front of a D x D matrix multiplies its determinant by c^D. *)
Fact determinant_scaled d (c : Num) (P : 'M[Num]_d) : \det (c *: P) = c ^+ d * \det P.
Proof. exact: detZ. Qed.

(* T25, T48: unlike the determinant, the trace adds up along a batch. *)
Lemma trace_adds n d (F : 'I_n -> 'M[Num]_d) (S : 'M[Num]_d) :
  \tr ((\sum_i F i) *m S) = \sum_i \tr (F i *m S).
Proof. by rewrite mulmx_suml raddf_sum. Qed.
End Determinants.
